"""Parts of the submission, each a module with `add_arguments(parser)` and `main(args)`."""
