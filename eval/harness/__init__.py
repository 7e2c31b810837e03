"""The real lm-eval harness, with the kit's scorer and tasks."""
