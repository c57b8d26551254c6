"""Which nginx there is, and what it needs to read openresty.conf."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import click

_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
_MODULE_FOLDERS = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nginx:
    """A server binary. ``modules``: absolute paths to load; empty when Lua is built in."""

    binary: str
    modules: tuple[Path, ...]

    def main_context(self) -> str:
        """Lines for the main context: the modules, and for root the user of the workers.

        Workers of a master that root starts become ``nobody``, who reaches neither the sockets
        (0660) nor private media: they stay what the sidecar is.
        """
        lines = [f"load_module {module};" for module in self.modules]
        if os.geteuid() == 0:
            user = pwd.getpwuid(os.geteuid()).pw_name
            lines.append(f"user {user} {grp.getgrgid(os.getegid()).gr_name};")
        return "".join(f"{line}\n" for line in lines)


def find_nginx() -> Nginx:
    """OpenResty when it is on PATH, else nginx with its Lua module.

    Raises ``click.ClickException`` when there is neither.
    """
    # Debian's nginx lies in sbin, which is not on everybody's PATH.
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"))
    binary = shutil.which("openresty", path=path) or shutil.which("nginx", path=path)
    if binary is None:
        raise click.ClickException("neither openresty nor nginx is installed: run 'make setup'")
    shown = subprocess.run([binary, "-V"], capture_output=True, text=True, check=False).stderr
    if "openresty/" in shown or re.search(r"--add-module=\S*ngx_lua", shown):
        return Nginx(binary=binary, modules=())
    configured = re.search(r"--modules-path=(\S+)", shown)
    folders = [configured[1]] if configured else []
    for folder in (*folders, *_MODULE_FOLDERS):
        modules = tuple(Path(folder) / module for module in _MODULES)
        if all(module.is_file() for module in modules):
            return Nginx(binary=binary, modules=modules)
    raise click.ClickException(f"{binary} has no Lua module: install libnginx-mod-http-lua")
