#include "launcher/help.h"

namespace tradewind::launcher {

const char* const kProgramHelp = R"(Tradewind trains e-commerce language models from one binary.

usage: tradewind VERB ...

  train       train a model from a config file, or go on with a run
  evaluate    loss, perplexity and bits per byte of a run's validation part
  generate    text from a trained model
  export      a trained model as one HDF5 file
  verify      whether a run's checkpoints are as they were written
  config      explain the keys of a config file
  demo-text   write product copy to try training on

  -h, --help  this text; with a verb, its options and examples
  --version   version, build, instruction set

A first run:
  tradewind demo-text --to copy.txt
  tradewind train configs/language/product-copy.toml --set data.path=copy.txt
  tradewind generate runs/product-copy --prompt "Soft" --stream

exit codes: 0 done, 2 command line or config, 3 data, 4 checkpoint,
  5 device or memory, 70 a bug, 75 stopped: run the same command again
)";

const char* const kTrainHelp = R"(Train a model from a config file, or go on with a run that was stopped.

usage: tradewind train CONFIG [--set KEY=VALUE]... [--dry-run] [--fresh]

  CONFIG           a TOML file, as in configs/; what its keys mean is shown by
                   tradewind config schema
  --set KEY=VALUE  override a key; may be given many times
  --dry-run        check config, data, size, memory, disk and threads, and
                   train nothing
  --fresh          start anew where the run directory holds a run; the old one
                   moves to old/ in it

Ctrl-C or SIGTERM saves and stops (exit code 75); the same command again goes
on. The run is in run.directory, by default runs/NAME for NAME.toml.

examples:
  tradewind train configs/language/gpt-shakespeare.toml \
    --set data.path=input.txt
  tradewind train my.toml --dry-run
  tradewind train my.toml --set train.steps=500 --set run.directory=runs/b
)";

const char* const kEvaluateHelp = R"(Loss, perplexity and bits per byte of a run's validation part.

usage: tradewind evaluate RUN [--checkpoint last|best|STEP] [--json]
                              [--set KEY=VALUE]...

  RUN              a run directory
  --checkpoint C   last (default), best, or the step of one
  --set KEY=VALUE  override a key of the run's config
  --json           print one JSON object

examples:
  tradewind evaluate runs/gpt-shakespeare
  tradewind evaluate runs/gpt-shakespeare --checkpoint best --json
  tradewind evaluate runs/shop --set data.validation_path=reviews.txt
)";

const char* const kGenerateHelp = R"(Text from a trained model.

usage: tradewind generate RUN [options]

  RUN              a run directory
  --prompt TEXT    how the text begins
  --tokens N       length (default 200)
  --temperature T  below 1 is surer, above 1 more varied, 0 takes the likeliest
                   token (default 1)
  --top-k K        only the K likeliest tokens; 0: all (default)
  --top-p P        only the likeliest tokens that together have the
                   probability P (default 1: all)
  --seed S         the same seed gives the same text (default 1)
  --samples N      how many texts (default 1)
  --stream         print while it is being generated
  --checkpoint C   last (default), best, or the step of one

examples:
  tradewind generate runs/gpt-shakespeare --prompt "ROMEO:" --stream
  tradewind generate runs/product-copy --samples 3 --temperature 0.7
)";

const char* const kExportHelp = R"(A trained model as one HDF5 file that h5py and h5dump read.

usage: tradewind export RUN --to FILE [--overwrite]
                            [--checkpoint last|best|STEP]

  RUN              a run directory
  --to FILE        where to, as in model.h5
  --overwrite      replace FILE where it exists
  --checkpoint C   last (default), best, or the step of one

examples:
  tradewind export runs/gpt-shakespeare --to model.h5
  tradewind export runs/shop --checkpoint best --to shop.h5 --overwrite
)";

const char* const kVerifyHelp = R"(Whether a run's checkpoints are as they were written, to the byte.

usage: tradewind verify RUN|CHECKPOINT [--json]

  RUN         a run directory: every checkpoint in it, config, status, metrics,
              and that the newest good one fits the config's model
  CHECKPOINT  one checkpoint of it, as in RUN/checkpoints/step-00000120
  --json      print one JSON object

Names the newest good checkpoint, which `tradewind train` goes on from. Exit
code 0: all is good; 4: something is not, and which.

examples:
  tradewind verify runs/gpt-shakespeare
  tradewind verify runs/shop/checkpoints/step-00000120 --json
)";

const char* const kConfigHelp = R"(Explain the keys of a config file.

usage: tradewind config schema [KEY] [--model NAME]

  KEY           a key or a section; all where it is left out
  --model NAME  explain the keys of model.name = NAME (default gpt)

examples:
  tradewind config schema
  tradewind config schema optimizer
  tradewind config schema train.micro_batch
)";

const char* const kDemoTextHelp = R"(Write made-up product copy: a text to try training on.

usage: tradewind demo-text [--to FILE] [--documents N] [--seed S]

  --to FILE      where to; printed where it is left out
  --documents N  product descriptions of about 360 bytes each (default 3000)
  --seed S       another seed, another text (default 1)

example:
  tradewind demo-text --to copy.txt --documents 5000
)";

}  // namespace tradewind::launcher
