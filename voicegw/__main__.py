"""Run the commands of `voicegw.cli` as `python -m voicegw`."""

from voicegw.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
