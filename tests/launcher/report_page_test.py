#!/usr/bin/env python3
"""A report is well-formed: elements are closed, ids are unique and found, pictures have a name, and every text has contrast.

Needs nothing but Python: the page is parsed as HTML, its drawings as XML.
"""
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from html.parser import HTMLParser

sys.dont_write_bytecode = True  # no cache beside the tests
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import tiny_run  # noqa: E402

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.labelled, self.images, self.problems = [], [], [], 0, []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        self.labelled += attrs.get("aria-labelledby", "").split()
        if tag == "svg" and attrs.get("role") == "img":
            self.images += 1
            if "aria-labelledby" not in attrs:
                self.problems.append("a picture without a name")
        elif tag == "svg" and attrs.get("aria-hidden") != "true":
            self.problems.append("a picture that is neither named nor hidden")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            self.problems.append(f"</{tag}> closes {self.open[-1:]} at {self.getpos()}")
        else:
            self.open.pop()


def luminance(colour):
    """WCAG 2.1, relative luminance."""
    colour = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:])
    channels = [int(colour[i:i + 2], 16) / 255 for i in (0, 2, 4)]
    channels = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]


def contrast(a, b):
    a, b = sorted((luminance(a), luminance(b)))
    return (b + 0.05) / (a + 0.05)


def check_colours(style):
    schemes = re.findall(r":root\{([^}]*)\}", style)
    assert len(schemes) == 3, "light, dark and print are expected"
    for scheme in schemes:
        colours = dict(re.findall(r"--([a-z0-9]+):(#[0-9a-f]+)", scheme))
        for ground in ("paper", "card"):
            for name in ["ink", "quiet", "bad"] + [f"c{i}" for i in range(6)]:
                found = contrast(colours[name], colours[ground])
                assert found >= 4.5, f"--{name} on --{ground} has a contrast of {found:.2f}, WCAG AA wants 4.5"


def main():
    binary = os.environ["TRADEWIND_BINARY"]
    with tempfile.TemporaryDirectory() as folder:
        tiny_run.write(folder, steps=12, every=3, line="A soft towel of linen & cotton, number <{}>.")
        run = lambda *arguments: subprocess.run([binary, *arguments], cwd=folder, check=True, capture_output=True)
        run("train", "tiny.toml")
        run("train", "tiny.toml", "--set", "run.directory=other", "--set", "optimizer.learning_rate=0.02")
        run("report", "run", "--to", "one.html")
        run("report", "run", "other", "--to", "two.html")
        for name in ("one.html", "two.html"):
            with open(f"{folder}/{name}", encoding="utf-8") as file:
                text = file.read()
            page = Page()
            page.feed(text)
            page.close()
            problems = page.problems + [f"<{tag}> is not closed" for tag in page.open]
            problems += [f"id {i} is there twice" for i in set(page.ids) if page.ids.count(i) > 1]
            problems += [f"id {i} is named, but not there" for i in page.labelled if i not in page.ids]
            assert not problems, f"{name}: {problems}"
            assert page.images == 5, f"{name}: {page.images} charts"
            for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
                xml.etree.ElementTree.fromstring(svg)
            check_colours(re.search(r"<style>(.*?)</style>", text, re.DOTALL).group(1))
    print("two pages are well-formed")


if __name__ == "__main__":
    sys.exit(main())
