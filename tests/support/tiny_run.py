"""A recipe and a text that train in a moment, as tests/support/tiny_run.h has them for C++."""
RECIPE = """[run]
directory = "run"
[data]
path = "text.txt"
[model]
name = "gpt"
layers = 1
heads = 2
channels = 16
context = 16
[train]
steps = {steps}
batch = 4
[evaluate]
every = {every}
[runtime]
threads = 1
{more}"""


def write(folder, steps, every, lines=100, line="A soft towel of linen, number {}.", more=""):
    """Makes tiny.toml, which trains in folder/run, and text.txt, `lines` times `line`. `more`: of the recipe."""
    with open(f"{folder}/tiny.toml", "w", encoding="utf-8") as file:
        file.write(RECIPE.format(steps=steps, every=every, more=more))
    with open(f"{folder}/text.txt", "w", encoding="utf-8") as file:
        file.writelines(line.format(i) + "\n" for i in range(lines))
