"""Programs that use eventlog as anybody would; none of them is part of the package."""
