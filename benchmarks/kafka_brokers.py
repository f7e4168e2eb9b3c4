"""Several Kafka brokers on loopback, each its own controller, for runs in which brokers come and go.

Standard library only. Every process is started here and ended here, by its id.
"""

import json
import pathlib
import subprocess
import time

from cluster import ROOT, Kafka, end_processes, free_port

PROPERTIES = """
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}/data
default.replication.factor={count}
min.insync.replicas={in_sync}
offsets.topic.num.partitions=4
offsets.topic.replication.factor={count}
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor={count}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor={count}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
background.threads=2
log.cleaner.dedupe.buffer.size=16777216
log.retention.ms=-1
auto.create.topics.enable=false
unclean.leader.election.enable=false
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
replica.lag.time.max.ms=3000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
"""


class KafkaBrokers(Kafka):
    """`count` brokers; every topic has a replica on each, of which all but one must have a record
    before it is acknowledged. `address` names all of them. Use as a context manager."""

    def __init__(self, folder, count=3):
        super().__init__("brokers", private=True)
        self.folder, self.count = pathlib.Path(folder), count
        self.ports = [free_port() for _ in range(count)]
        self.processes = [None] * count
        self.address = ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def __enter__(self):
        controllers = [free_port() for _ in range(self.count)]
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in enumerate(controllers, 1))
        cluster_id = self._java("kafka.tools.StorageTool", "random-uuid").strip()
        for index in range(self.count):
            folder = self.folder / str(index)
            folder.mkdir(parents=True)
            (folder / "server.properties").write_text(PROPERTIES.format(
                node=index + 1, voters=voters, port=self.ports[index], folder=folder,
                controller=controllers[index], count=self.count, in_sync=self.count - 1))
            self._java("kafka.tools.StorageTool", "format", "-c",
                       str(folder / "server.properties"), "-t", cluster_id)
        for index in range(self.count):
            self.start(index)
        self.wait_until_whole()
        return self

    def __exit__(self, *unused):
        end_processes(process for process in self.processes if process is not None)

    @staticmethod
    def _command(*arguments, heap=128):
        return ["java", f"-Xmx{heap}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp",
                str(ROOT / ".dev/kafka/libs/*"), *arguments]

    def _java(self, *arguments):
        return subprocess.run(self._command(*arguments), check=True, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True).stdout

    def start(self, index):
        folder = self.folder / str(index)
        with open(folder / "out.log", "ab") as log:
            self.processes[index] = subprocess.Popen(
                self._command("kafka.Kafka", str(folder / "server.properties"), heap=320),
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def kill(self, index):
        self.processes[index].kill()
        self.processes[index].wait()

    def stop(self, index):
        """Hands its partitions over before it goes."""
        end_processes([self.processes[index]])

    def partitions(self):
        """What the brokers say of all partitions; none while nobody answers."""
        listed = subprocess.run(["kcat", "-b", self.address, "-L", "-J", "-m", "5"],
                                capture_output=True, text=True)
        try:
            said = json.loads(listed.stdout)
        except ValueError:
            return [], 0
        return ([(topic["topic"], one) for topic in said["topics"] for one in topic["partitions"]],
                len(said["brokers"]))

    def leaders(self):
        """Of every partition, the node that leads it."""
        return {(topic, one["partition"]): one["leader"] for topic, one in self.partitions()[0]}

    def elect_preferred(self):
        """Leaders go back to where they were when the topics were made."""
        self._java("org.apache.kafka.tools.LeaderElectionCommand", "--bootstrap-server",
                   self.address, "--election-type", "preferred", "--all-topic-partitions")

    def wait_until_whole(self, patience=120):
        """Until every broker is there and every partition has all of its replicas in sync."""
        deadline = time.monotonic() + patience
        while True:
            partitions, brokers = self.partitions()
            if brokers == self.count and all(len(one["isrs"]) == self.count
                                             for _, one in partitions):
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"the brokers are not whole: {brokers} brokers, {partitions}")
            time.sleep(0.2)
