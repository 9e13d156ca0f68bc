"""Ask routed language models about data: ``python run.py provider=lmstudio routing=local_first task=sentiment``."""

from lmroute.experiments.main import main

if __name__ == "__main__":
    main()
