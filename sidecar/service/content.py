"""From the names in a request to files that this location may read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sidecar.errors import BadRequest, Forbidden, NotFound, StorageError
from sidecar.storage.access import Access
from sidecar.storage.local import open_local
from sidecar.storage.remote import RemoteStore
from sidecar.storage.source import Source, SourceIdentity

MANIFEST_EXTENSIONS = frozenset({".ism"})
MEDIA_EXTENSIONS = frozenset(
    {".mp4", ".m4v", ".m4a", ".mov", ".ismv", ".isma", ".ismt", ".cmfv", ".cmfa", ".cmft"}
)
PACKAGED_EXTENSIONS = frozenset({".f4f", ".f4x"})
# Of what is made, bytes: names of other files begin with it, and file systems have an end.
_LONGEST_NAME = 100
_LONGEST_FOLDER = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A server manifest or media file inside a document root.

    ``root``: the document root, symlinks resolved. ``path``: the file, symlinks resolved.
    ``asked``: the file as the request named it, below the root as the request named it: what to
    look at again to see whether a symlink has been turned elsewhere. ``name``: basename without
    its extension. ``allowed``: folders outside the root, symlinks resolved, that what it names may
    lie in.
    """

    root: str
    path: str
    asked: str
    name: str
    is_manifest: bool
    allowed: tuple[str, ...] = ()

    @property
    def folders(self) -> tuple[str, ...]:
        """What its sources may lie in."""
        return (self.root, *self.allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteContent:
    """A server manifest or media file on another server. ``url``: canonical. ``name``: basename
    without its extension."""

    url: str
    name: str
    is_manifest: bool


def remote_content(
    access: Access, path: str, extensions: frozenset[str] = MANIFEST_EXTENSIONS | MEDIA_EXTENSIONS
) -> RemoteContent:
    """The content that the request path ``path`` names where the base of ``access`` stands for it.

    Raises ``BadRequest`` for paths that cannot be those of files, ``NotFound`` for what is of no
    kind that is served.
    """
    pure = PurePosixPath(path)
    extension = pure.suffix.lower()
    url = access.url_of(path)
    if extension not in extensions:
        raise NotFound(f"files named *{extension} are not served")
    return RemoteContent(url=url, name=pure.stem, is_manifest=extension in MANIFEST_EXTENSIONS)


def _inside_any(folders: tuple[str, ...], path: str) -> bool:
    return any(path.startswith(f"{folder.rstrip('/')}/") for folder in folders)


def resolve(
    document_root: str,
    path: str,
    extensions: frozenset[str] = MANIFEST_EXTENSIONS | MEDIA_EXTENSIONS,
    *,
    allowed: Iterable[str] = (),
) -> Content:
    """The content that the request path ``path`` names below ``document_root``.

    ``extensions``: of the files that are asked for, in lower case. ``allowed``: folders, absolute,
    that its sources may lie in as well (``origin_allow_src``).

    Raises ``BadRequest`` for paths that cannot be names of files, ``Forbidden`` when the file lies
    outside the document root once symlinks are resolved, ``NotFound`` when it does not exist or
    is of no kind that is served.
    """
    if "\0" in path or "\0" in document_root or not path.startswith("/"):
        raise BadRequest("the path is not valid")
    if not document_root.startswith("/"):
        raise BadRequest("the document root is not an absolute path")
    asked = document_root.rstrip("/") + path
    pure = PurePosixPath(path)
    extension = pure.suffix.lower()
    if extension not in extensions:
        raise NotFound(f"files named *{extension} are not served")
    root = os.path.realpath(document_root)
    return Content(
        root=root,
        path=_real_path((root,), asked, "the content"),
        asked=asked,
        name=pure.stem,
        is_manifest=extension in MANIFEST_EXTENSIONS,
        allowed=tuple(os.path.realpath(folder) for folder in allowed),
    )


def open_content(
    document_root: str, path: str, extensions: frozenset[str], store: RemoteStore | None
) -> Source:
    """The file that ``path`` names below ``document_root``, or in ``store`` where that stands for
    it. Raises as ``resolve``, ``remote_content`` and whatever opens it."""
    if store is not None and store.access.base:
        return store.open(remote_content(store.access, path, extensions).url)
    return open_local(resolve(document_root, path, extensions).path)


def resolve_new(
    document_root: str, path: str, extensions: frozenset[str], *, make_folder: bool = False
) -> str:
    """The real path of a file that ``path`` names below ``document_root`` and that need not exist.

    ``make_folder``: its folder is made when there is none. Raises as ``resolve``, ``BadRequest``
    for names that are too long, ``NotFound`` when the folder does not exist, ``StorageError`` when
    it cannot be made.
    """
    if "\0" in path or "\0" in document_root or not path.startswith("/"):
        raise BadRequest("the path is not valid")
    pure = PurePosixPath(path)
    if pure.suffix.lower() not in extensions or not pure.stem.strip("."):
        raise NotFound(f"files named *{pure.suffix} are not served")
    if len(os.fsencode(pure.name)) > _LONGEST_NAME:
        raise BadRequest(f"the name has more than {_LONGEST_NAME} bytes")
    if max(len(os.fsencode(part)) for part in pure.parts) > _LONGEST_FOLDER:
        raise BadRequest(f"the name of a folder has more than {_LONGEST_FOLDER} bytes")
    root = os.path.realpath(document_root)
    folder = document_root.rstrip("/") + str(pure.parent)
    real = os.path.realpath(folder)
    if make_folder and _inside_any((root,), real):
        try:
            Path(real).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make the folder: {error.strerror}", path=real) from error
    if real != root:
        folder = _real_path((root,), folder, "the folder of the content")
    file = f"{folder.rstrip('/')}/{pure.name}"
    # What is there may be a symlink.
    return _real_path((root,), file, "the content") if os.path.lexists(file) else file


def resolve_source(content: Content, src: str) -> str:
    """The real path of the media file that the server manifest ``content`` calls ``src``.

    ``src`` is relative to the folder of the manifest, or absolute; either way the file must lie
    inside the document root or an allowed folder once symlinks are resolved. Raises ``Forbidden``
    when it does not, or when ``src`` is a URL; ``NotFound`` when there is no such file.
    """
    if "\0" in src or not src:
        raise Forbidden("the server manifest names a source that is not a file name")
    if "://" in src:
        raise Forbidden("the server manifest names a remote source, which is not allowed here")
    what = f"the source {PurePosixPath(src).name} of the server manifest"
    return _real_path(content.folders, str(PurePosixPath(content.path).parent / src), what)


def check_references(content: Content, references: Iterable[SourceIdentity]) -> None:
    """Raises ``Forbidden`` unless the files that a media file of ``content`` refers to lie inside
    the document root or an allowed folder."""
    for reference in references:
        # A URL has been checked already, before it was asked for.
        if not reference.is_remote and not _inside_any(content.folders, reference.path):
            raise Forbidden("the media file refers to a file outside the document root")


def _real_path(folders: tuple[str, ...], path: str, what: str) -> str:
    """``path`` with symlinks resolved, inside one of ``folders``; ``Forbidden``, ``NotFound``."""
    try:
        real = os.path.realpath(path, strict=True)
        exists = True
    except PermissionError:
        raise Forbidden(f"{what} may not be read") from None
    except OSError:
        real = os.path.realpath(path)
        exists = False
    # A missing file outside is refused like a present one, or answers would tell which exist.
    if not _inside_any(folders, real):
        raise Forbidden(f"{what} lies outside the document root")
    if not exists:
        raise NotFound(f"{what} does not exist")
    return real
