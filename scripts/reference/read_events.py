"""What TensorBoard's own reader finds below a folder of event files, as JSON by run."""
import json
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.util import tensor_util


def of_run(folder):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    tags = events.Tags()
    content = {tag: events.SummaryMetadata(tag).plugin_data for tag in tags["tensors"]}
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG].content)
    end = content.get(metadata.SESSION_END_INFO_TAG)
    return {
        "scalars": {tag: [[event.step, event.value] for event in events.Scalars(tag)] for tag in tags["scalars"]},
        "histograms": {
            tag: [[event.step, tensor_util.make_ndarray(event.tensor_proto).tolist()] for event in events.Tensors(tag)]
            for tag in tags["tensors"]
            if content[tag].plugin_name == "histograms"
        },
        "hyperparameters": {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()},
        "ended": end is not None and metadata.parse_session_end_info_plugin_data(end.content).status == 1,
    }


print(json.dumps({folder.name: of_run(folder) for folder in sorted(pathlib.Path(sys.argv[1]).iterdir())}))
