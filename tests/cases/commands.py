"""A command of `featune`, run in this process as a user runs it."""

from typer.testing import CliRunner

from featune.bench.cli.app import app


def run(*arguments: object) -> tuple[int, str, str]:
    """(exit code, stdout, stderr). An error that no user may see is raised."""
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr
