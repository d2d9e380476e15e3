"""`python -m interceptor`: the command."""

from interceptor.cli.main import main

main()
