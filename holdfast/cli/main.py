"""The ``holdfast`` command: one function a subcommand; the work is in the modules beside this file.

Heavy imports happen inside the commands: ``holdfast status`` should not load an HTTP server.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from holdfast import __version__
from holdfast.cli.errors import UserError
from holdfast.system.settings import Settings, default_data, default_node_name

data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_data,
    show_default=str(default_data()),
    help="The data directory.",
)


def _listen(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, int | None]:
    if value is None:
        return "127.0.0.1", None
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter("HOST:PORT is wanted, for example 127.0.0.1:6443 (port 0 picks a free one)")
    return host.strip("[]"), int(port)


listen_option = click.option("--listen", callback=_listen, metavar="HOST:PORT", help="Where the API listens (port 0: a free one).")
node_option = click.option("--node-name", default=default_node_name, help="Name of this machine's Node.")
runtime_option = click.option(
    "--runtime",
    type=click.Choice(["auto", "oci", "simulated"]),
    default="auto",
    help="How instances run: oci (runc, as root), or simulated: nothing runs, states advance, needs neither root nor runc."
    " auto: as before on this data, else oci.",
)
volumes_option = click.option(
    "--volumes",
    type=click.Choice(["auto", "image", "directory"]),
    default="auto",
    help="What volumes are: image files with a file system of exactly their size, or directories, whose size nothing limits."
    " auto: images where loop devices are to be had.",
)
trash_option = click.option(
    "--trash-hours",
    type=click.FloatRange(0, 24 * 3660),
    default=24.0,
    show_default=True,
    help="How long removed volumes are kept, where their StorageClass says nothing; 0 erases at once.",
)
store_option = click.option(
    "--store", default="", metavar="URL", help="sqlite:///PATH or memory://; the default lies in the data directory."
)
security_option = click.option(
    "--pod-security",
    type=click.Choice(["privileged", "baseline", "restricted"]),
    default="baseline",
    help="What is enforced in namespaces whose labels say nothing.",
)
kubeconfig_option = click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Default: as kubectl, or that of --data.",
)
context_option = click.option("--context", default="", help="A context of the kubeconfig.")
namespace_option = click.option("-n", "--namespace", default="", help="The namespace; default: the context's.")


class _Main(click.Group):
    """No traceback reaches a user; HOLDFAST_DEBUG=1 shows it to whoever looks for one."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # ``holdfast plan ... | head``: click ends quietly
        except OSError as error:
            if os.environ.get("HOLDFAST_DEBUG"):
                raise
            where = f"{error.filename}: " if error.filename else ""
            raise UserError(f"{where}{error.strerror or error}") from error


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="holdfast")
def main() -> None:
    """Stateful applications the way Kubernetes describes them."""


@main.command()
@click.option(
    "-f", "manifests", multiple=True, type=click.Path(path_type=Path), metavar="MANIFEST", help="Objects to create once it runs."
)
@click.option("--detach", is_flag=True, help="Return once the API is ready; `holdfast down` ends it.")
@data_option
@listen_option
@store_option
@runtime_option
@node_option
@volumes_option
@trash_option
@security_option
def up(
    manifests: tuple[Path, ...],
    detach: bool,
    data: Path,
    listen: tuple[str, int | None],
    store: str,
    runtime: str,
    node_name: str,
    volumes: str,
    trash_hours: float,
    pod_security: str,
) -> None:
    """Start the server and the node."""
    from holdfast.cli import up as command

    settings = Settings(
        data.resolve(), listen[0], listen[1], store, node_name, runtime, volumes, trash_hours, pod_security=pod_security
    )
    command.run(settings, list(manifests), detach=detach)


@main.command()
@data_option
def down(data: Path) -> None:
    """Stop members gracefully, then the node and the server. Objects and data stay."""
    from holdfast.cli import down as command

    command.run(Settings(data.resolve()))


@main.command()
@click.option("--kubeconfig", is_flag=True, help="Print only the kubeconfig's path.")
@data_option
def status(data: Path, kubeconfig: bool) -> None:
    """What runs, and where."""
    from holdfast.cli import status as command

    command.run(Settings(data.resolve()), only_kubeconfig=kubeconfig)


@main.command()
@click.option("--yes", is_flag=True, help="Really remove all objects and volumes.")
@data_option
def reset(data: Path, yes: bool) -> None:
    """Remove the data directory: every object and every volume."""
    from holdfast.cli import down as command

    if not yes:
        raise click.UsageError("reset removes every object and every volume below the data directory: say --yes")
    command.reset(Settings(data.resolve()))


@main.command()
@click.option("--keep", is_flag=True, help="Leave it running at the end.")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), default=None, help="Use this data directory and keep it.")
def demo(keep: bool, data: Path | None) -> None:
    """The StatefulSet tutorial, step by step, on the real system."""
    from holdfast.cli import demo as command

    command.run(data.resolve() if data else None, keep=keep)


@main.command()
@click.argument("subject", nargs=-1, required=True, metavar="sts/NAME|pod/NAME|pvc/NAME")
@namespace_option
@kubeconfig_option
@context_option
@data_option
def why(subject: tuple[str, ...], namespace: str, kubeconfig: Path | None, context: str, data: Path) -> None:
    """What a StatefulSet, a pod or a claim waits for, since when, and what to do about it."""
    from holdfast.cli import kubeconfig as access
    from holdfast.cli import why as command

    found = access.load(access.find(kubeconfig, Settings(data.resolve()).kubeconfig), context)
    command.run(found, "/".join(subject), namespace)


@main.command()
@click.option(
    "-f", "files", multiple=True, required=True, type=click.Path(path_type=Path), metavar="MANIFEST", help="What would be applied."
)
@namespace_option
@kubeconfig_option
@context_option
@data_option
def plan(files: tuple[Path, ...], namespace: str, kubeconfig: Path | None, context: str, data: Path) -> None:
    """What applying a StatefulSet would do, step by step, and what would be lost. Nothing is written."""
    from holdfast.cli import kubeconfig as access
    from holdfast.cli import plan as command

    found = access.load(access.find(kubeconfig, Settings(data.resolve()).kubeconfig), context)
    command.run(found, list(files), namespace)


@main.group()
def image() -> None:
    """Images without a registry."""


@image.command("load")
@click.argument("archive", type=click.Path(path_type=Path))
@data_option
def image_load(archive: Path, data: Path) -> None:
    """Load an OCI or docker archive, or an OCI layout directory."""
    from holdfast.cli import image as command

    command.load(Settings(data.resolve()), archive)


@image.command("build")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("-t", "--tag", "tags", multiple=True, help="Further names for the image.")
@data_option
def image_build(spec: Path, tags: tuple[str, ...], data: Path) -> None:
    """Build an image from Debian packages as a spec file says."""
    from holdfast.cli import image as command

    command.build(Settings(data.resolve()), spec, list(tags))


@image.command("list")
@data_option
def image_list(data: Path) -> None:
    """The images that are loaded."""
    from holdfast.cli import image as command

    command.list_images(Settings(data.resolve()))


@image.command("tag")
@click.argument("source")
@click.argument("target")
@data_option
def image_tag(source: str, target: str, data: Path) -> None:
    """Give a loaded image another name."""
    from holdfast.cli import image as command

    command.tag(Settings(data.resolve()), source, target)


@main.group()
def volume() -> None:
    """Volumes on this machine's disk, and the trash of removed ones."""


@volume.command("list")
@click.option("--trash", is_flag=True, help="Those that were removed and are not erased yet.")
@data_option
def volume_list(trash: bool, data: Path) -> None:
    """What there is, whose it is and what it takes of the disk."""
    from holdfast.cli import volume as command

    command.list_volumes(Settings(data.resolve()), trash=trash)


@volume.command("restore")
@click.argument("name", metavar="VOLUME|NAMESPACE/CLAIM")
@click.option("--claim", default="", metavar="NAMESPACE/NAME", help="Keep it for this claim; default: the one it had.")
@data_option
def volume_restore(name: str, claim: str, data: Path) -> None:
    """Take a volume out of the trash, for a claim of the same name to get it again."""
    from holdfast.cli import volume as command

    command.restore(Settings(data.resolve()), name, claim)


@volume.command("purge")
@click.argument("name", required=False, default="", metavar="[VOLUME|NAMESPACE/CLAIM]")
@click.option("--all", "everything", is_flag=True, help="Everything in the trash.")
@data_option
def volume_purge(name: str, everything: bool, data: Path) -> None:
    """Erase what lies in the trash now."""
    from holdfast.cli import volume as command

    if bool(name) == everything:
        raise click.UsageError("name a volume of the trash, or say --all")
    command.purge(Settings(data.resolve()), name, everything=everything)


@main.command()
@data_option
@listen_option
@store_option
@node_option
@security_option
def server(data: Path, listen: tuple[str, int | None], store: str, node_name: str, pod_security: str) -> None:
    """The API server and the controllers, in the foreground."""
    from holdfast.cli import roles

    roles.server(Settings(data.resolve(), listen[0], listen[1], store, node_name, pod_security=pod_security))


@main.command()
@data_option
@runtime_option
@node_option
@volumes_option
@trash_option
def node(data: Path, runtime: str, node_name: str, volumes: str, trash_hours: float) -> None:
    """The node of this machine, in the foreground."""
    from holdfast.cli import roles

    roles.node(Settings(data.resolve(), node_name=node_name, runtime=runtime, volumes=volumes, trash_hours=trash_hours))


if __name__ == "__main__":
    main()

__all__ = ["UserError", "main"]
