"""What calls cost and how they ended, asked of the index: sums, series, the latest, a chart."""
