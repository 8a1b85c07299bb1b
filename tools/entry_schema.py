"""Write the JSON Schema of leaderboard entries: `python tools/entry_schema.py > leaderboard/entry.schema.json`."""

from __future__ import annotations

import json

from chemscale_bench.leaderboard.entry import Entry

if __name__ == "__main__":
    print(json.dumps(Entry.model_json_schema(), indent=1))
