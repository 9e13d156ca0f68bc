"""Ask routed language models about data: ``python run.py provider=lmstudio routing=local_first task=sentiment``."""

import sys

if __name__ == "__main__":
    try:
        from lmroute.experiments.main import main
    except KeyboardInterrupt:  # importing takes a while, long enough for somebody to change their mind
        sys.exit(130)
    main()
