#!/bin/sh
# Installs the players of tests/package.json into tests/node_modules, exactly as locked.
# Quiet about engines: only playwright-core runs in Node, the players run in the browser.
# Does nothing when that has been done for this lock file.
set -eu
cd "$(dirname "$0")/.."
stamp=node_modules/.installed-for
wanted=$(sha256sum package-lock.json)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
fi
# No install scripts: playwright's would download a browser; the tests use Debian's Chromium.
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
printf '%s\n' "$wanted" >"$stamp"
