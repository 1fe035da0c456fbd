"""Builds one version of the shop into a folder: ``python build.py --version v2 --out DIR``."""

import argparse
import pathlib
import re
import shutil

SOURCE = pathlib.Path(__file__).parent


def build(version: str, out: pathlib.Path) -> None:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", version):
        raise SystemExit(f"build: a version is made of letters, digits, dots and dashes: {version}")
    out.mkdir(parents=True, exist_ok=True)
    for name in ("main.py", "shop.py", "wire.py"):
        shutil.copyfile(SOURCE / name, out / name)
    (out / "version.py").write_text(f'VERSION = "{version}"\n')


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", required=True)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    build(arguments.version, arguments.out)
