# From a bare clone with only Python 3.11, 3.12 or 3.13. Both set-ups are made once: the launcher builds `.venv`, or takes the
# environment you have activated if the project is installed there.
.PHONY: demo test dev docs

demo:
	@python=$$(sh tools/launch --prepare) && "$$python" -m mlflow run .

test: dev
	@"$$(sh tools/launch --prepare)" -m pytest -n auto --maxprocesses 4 --dist worksteal

# What tests and checks need on top; `pip --group` came with pip 25.1.
dev:
	@python=$$(sh tools/launch --prepare) && { \
	    "$$python" -c "import fcd_torch, hypothesis, molfeat, mypy, optunahub.version, pre_commit, selenium, xdist" 2>/dev/null || { \
	        echo "installing the tools for tests and checks" && \
	        "$$python" -m pip install --quiet --quiet "pip>=25.1" && \
	        "$$python" -m pip install --quiet --quiet --constraint=constraints.txt --group dev; }; }

# Into docs/_build/html; executes the tutorials, and a warning is an error.
docs:
	@python=$$(sh tools/launch --prepare) && { \
	    "$$python" -c "import furo, ipykernel, latex2mathml, myst_nb, sphinx_copybutton" 2>/dev/null || { \
	        echo "installing the tools for the documentation" && \
	        "$$python" -m pip install --quiet --quiet "pip>=25.1" && \
	        "$$python" -m pip install --quiet --quiet --constraint=constraints.txt --group docs; }; } && \
	    OMP_WAIT_POLICY=passive "$$python" -m sphinx -b html -W --keep-going docs docs/_build/html
