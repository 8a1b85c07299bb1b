"""Every verb's parameters, declared once: `--help`, MLproject and the validation all follow from these classes."""
