"""``python -m convoforge`` is `convoforge`."""

from convoforge.cli import main

if __name__ == "__main__":
    main()
