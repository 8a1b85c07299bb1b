"""`python -m chemscale_bench VERB --name value`: the tool without an installed console script."""

from chemscale_bench.cli import main

if __name__ == "__main__":
    main()
