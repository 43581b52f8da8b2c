"Packaging for setuptools, read from settings.ini, the one place where the project is described."
import re
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

root = Path(__file__).parent
config = ConfigParser(delimiters=["="])
config.read(root / "settings.ini", encoding="utf-8")
c = config["DEFAULT"]
files = f"{c['git_url']}/{{}}/{c['branch']}/"
# README.md names files of the repository; a page elsewhere needs their addresses.
readme = (root / "README.md").read_text(encoding="utf-8")
readme = re.sub(r"(!\[[^]]*\]\()(?![a-z]+:)", rf"\1{files.format('raw')}", readme)
readme = re.sub(r"(\]\()(?![a-z]+:|#)", rf"\1{files.format('blob')}", readme)
minors = range(int(c["min_python"].split(".")[1]), 14)

setup(
    name=c["lib_name"],
    version=c["version"],
    description=c["description"],
    long_description=readme,
    long_description_content_type="text/markdown",
    author=c["author"],
    author_email=c["author_email"],
    project_urls={
        "Documentation": c["doc_host"] + c["doc_baseurl"],
        "Source": c["git_url"],
        "Changelog": files.format("blob") + "CHANGELOG.md",
        "Issues": c["git_url"] + "/issues",
    },
    license_expression="Apache-2.0 AND MIT",  # MIT: the sample of Fashion-MNIST
    license_files=["LICENSE", "fmnist/sample/LICENSE"],
    keywords=c["keywords"].split(),
    classifiers=[
        "Development Status :: 3 - Alpha",
        f"Intended Audience :: {c['audience']}",
        f"Natural Language :: {c['language']}",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in minors),
    ],
    python_requires=f">={c['min_python']}",
    packages=find_packages(include=["fmnist", "fmnist.*"]),
    package_data={
        "fmnist": ["sample/*", "results/*.json*", "*.json*", "templates/*", "weights/*", "py.typed"]
    },
    install_requires=c["requirements"].split(),
    extras_require={extra: c[f"{extra}_requirements"].split() for extra in ("dev", "bench", "dask", "onnx", "sklearn")},
    entry_points={
        "console_scripts": c["console_scripts"].split(),
        "nbdev": [f"{c['lib_name']}={c['lib_name']}._modidx:d"],
    },
    zip_safe=False,
)
