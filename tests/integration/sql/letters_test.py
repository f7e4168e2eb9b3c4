"""Rows that no query sees: a script's tables of dead letters and late rows."""

import base64
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

MILLRACE = str(pathlib.Path(os.environ["MILLRACE_BUILD"]) / "cli" / "millrace")

JOB = """
SET 'pipeline.dead-letters' = 'letters';
SET 'pipeline.late-rows' = 'late';
CREATE TABLE clicks (id BIGINT, n INT, note STRING, b BYTES, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'file', 'path' = '{clicks}', 'format' = 'json');
CREATE TABLE letters (uid STRING, code STRING, error STRING, raw BYTES, `time` TIMESTAMP(3),
                      source STRING, `offset` BIGINT, columns STRING)
WITH ('connector' = 'file', 'path' = '{folder}/letters', 'format' = 'json');
CREATE TABLE late (uid STRING, code STRING, error STRING, `time` TIMESTAMP(3))
WITH ('connector' = 'file', 'path' = '{folder}/late', 'format' = 'json');
CREATE TABLE counts (starttime TIMESTAMP(3), n BIGINT)
WITH ('connector' = 'file', 'path' = '{folder}/counts', 'format' = 'json');
INSERT INTO counts SELECT window_start, sum(tenth) + 0 / (count(*) - 1) FROM TABLE(TUMBLE(
    TABLE tenths, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY window_start, window_end;
"""
VIEW = "CREATE VIEW tenths AS SELECT id, note, b, ts, 10 / n AS tenth FROM clicks;\n"


class LettersTest(unittest.TestCase):
    def rows(self, name):
        return [json.loads(line) for part in sorted((self.folder / name).glob("part-*"))
                for line in part.read_text().splitlines()]

    def test_every_row_is_somewhere(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        clicks = self.folder / "clicks.json"
        # More rows than a batch behind those that move the watermark, so that the last one is late.
        good = [{"id": i, "n": 5, "note": None, "ts": f"2026-01-01 00:00:{i // 500:02d}.000"}
                for i in range(20_000)]
        bad = [{"id": 1, "n": 0, "note": "zero", "ts": "2026-01-01 00:00:39.000"},
               {"id": 2, "n": "many", "note": "text", "ts": "2026-01-01 00:00:39.000"}]
        # Alone in its window, whose result cannot be computed.
        lone = {"id": 4, "n": 5, "note": None, "ts": "2026-01-01 00:00:40.000"}
        late = {"id": 3, "n": 1, "note": "slow", "b": "AP8=", "ts": "2026-01-01 00:00:00.000"}
        clicks.write_text("".join(json.dumps(row) + "\n" for row in [*good, *bad, late, lone]))
        job = self.folder / "job.sql"
        job.write_text(JOB.replace("INSERT", VIEW + "INSERT", 1).format(
            clicks=clicks, folder=self.folder))
        # With one task: a second one, without a split, may hold the watermark back while it starts.
        done = subprocess.run([MILLRACE, "run", str(job), "--work-dir", str(self.folder / "work"),
                               "--parallelism", "1"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sum(row["n"] for row in self.rows("counts")), 2 * len(good))
        letters = sorted(self.rows("letters"), key=lambda row: row["code"])
        self.assertEqual([row["uid"] for row in letters],
                         ["clicks", "tenths.project", "counts.project"])
        # Of the record, as far as there is one: where it stands, and its bytes.
        text = clicks.read_bytes()
        for letter, note in zip(letters[:2], (b'"text"', b'"zero"')):
            raw = base64.b64decode(letter["raw"])
            self.assertIn(note, raw)
            self.assertEqual(text[letter["offset"]:letter["offset"] + len(raw)], raw)
            self.assertEqual(letter["source"], str(clicks))
            self.assertIsNone(letter["columns"])
        # Behind an exchange nobody knows the record: the row, and what it has.
        self.assertIsNone(letters[2]["offset"])
        self.assertIsNone(letters[2]["source"])
        row = json.loads(base64.b64decode(letters[2]["raw"]))
        self.assertEqual(", ".join(row), letters[2]["columns"])
        self.assertIn(1, row.values())  # The count.
        slow = self.rows("late")
        self.assertEqual([row["code"] for row in slow], ["MR4008"])
        self.assertIn("note=slow, b=AP8=", slow[0]["error"])
        self.assertGreater(slow[0]["time"], "2026-")


if __name__ == "__main__":
    unittest.main()
