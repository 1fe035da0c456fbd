"""A field is read that events of this kind do not have."""

import tidegate

release = tidegate.Pipeline("release")
with tidegate.Engine("release.db") as engine:
    for event in engine.start(release):
        if event["kind"] == "step_finished" and event["result"]["kind"] == "failed":
            print(event["seq"], event["result"]["value"])  # wrong: ["value"] -> ["error"]["message"]
