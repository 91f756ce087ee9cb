"""The bundled corpus: 600 English sentences with their sentiment and entities, as package data.

``train.jsonl`` (400 rows), ``validation.jsonl`` (100) and ``test.jsonl`` (100) hold one JSON object
a line: ``text``; ``sentiment`` (``negative``, ``neutral``, ``positive``, or null where it was not
annotated); ``entities``, a sorted list of ``{"start", "end", "label"}`` (characters, end exclusive;
``person``, ``organization``, ``location`` or ``product``), empty where there are none and null
where they were not annotated. GUIDE.md is the annotation guide; the corpus is CC0-1.0 (LICENSE).
"""
