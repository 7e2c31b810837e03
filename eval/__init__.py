"""Model folder -> scores. Write `from eval.x import y`: a plain `import eval` would rebind the builtin."""
