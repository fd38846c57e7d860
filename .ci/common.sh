# What the scripts beside this file share; they source it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() {
    printf '\n=== %s (%s s) ===\n' "$1" "$SECONDS"
}

# Makes a virtual environment and enters it. PYTHON names another interpreter; KEEP names a folder, to be
# made, in which the environment stays when the script has ended.
fresh_environment() {
    step "a fresh virtual environment"
    if [ -n "${KEEP:-}" ]; then
        mkdir "$KEEP"
        environment=$KEEP
    else
        environment=$(mktemp -d)
        trap 'rm -rf "$environment"' EXIT
    fi
    "${PYTHON:-python3}" -m venv "$environment"
    source "$environment/bin/activate"
    python --version
}

# The tests of HTML pages open them in a browser, and are skipped where there is none.
browser() {
    if ! command -v chromium google-chrome chrome >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null
    then
        step "a browser"
        { apt-get update -qq && apt-get install -y -qq chromium; } >/dev/null 2>&1 || echo "none could be installed"
    fi
}

# The tests with another choice of versions, "newest" or "lowest": what fails, then what departs from the
# lock. Further arguments go to pytest.
canary() {
    local choice=$1 status=0
    shift
    fresh_environment
    browser
    step "the $choice versions"
    pip install --quiet packaging
    python .ci/requirements.py "$choice" | tee "$environment/requirements.txt"
    pip install --quiet -r "$environment/requirements.txt"
    # Apart from its dependencies: its own bounds would bring back what the list leaves out.
    pip install --quiet --no-deps -e .
    step "tests"
    pytest -n auto -rfE "$@" || status=$?
    step "locked -> installed"
    python .ci/requirements.py moved
    return "$status"
}
