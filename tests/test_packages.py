"""Files inside installed packages."""

import pytest

import mtl_nlp
from mtl_nlp.packages import package_folder


@pytest.mark.parametrize("name", ["mtl_nlp", "package:mtl_nlp"])
def test_the_folder_of_a_package(name: str) -> None:
    assert package_folder(name).samefile(mtl_nlp.__path__[0])


def test_a_package_within_a_package() -> None:
    assert package_folder("package:mtl_nlp.heads").name == "heads"


@pytest.mark.parametrize(
    "name",
    ["package:no_such_package", "package:no_such.package", "package:", "package:json.decoder"],
)
def test_what_is_no_installed_package_is_refused(name: str) -> None:
    with pytest.raises(LookupError, match=r"no package '.*' is installed; install it"):
        package_folder(name)
