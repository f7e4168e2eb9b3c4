"""`millrace run`, killed at random moments."""

import subprocess


def run_and_kill(command, kills, chance):
    """Runs it so often, each time restored at another parallelism, and kills it soon after its job
    runs. How often it had not ended by itself before."""
    killed = 0
    for kill in range(kills):
        with subprocess.Popen([*command, "--parallelism", str(1 + (kill + 1) % 3)],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True) as process:
            for line in process.stderr:
                if "RUNNING" in line:
                    break
            try:
                process.wait(chance.uniform(0, 0.2))
            except subprocess.TimeoutExpired:
                process.kill()
                killed += 1
    return killed
