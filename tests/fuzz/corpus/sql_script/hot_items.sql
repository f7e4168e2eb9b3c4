-- The hottest items of an auction house: every 2 seconds the three auctions with the most bids of the
-- last 10 seconds. Reads bids from Kafka, writes the winners to Kafka, exactly once.
--
--   millrace submit examples/hot_items.sql --set brokers=localhost:9092
--
-- The input topic holds Nexmark events, one JSON object per message. Make some:
--   millrace generate nexmark --events 1000000 --seed 1 --to kafka:localhost:9092/nexmark
SET 'pipeline.name' = 'hot-items';

CREATE TABLE events (
    event_type INT,
    person ROW<`dateTime` TIMESTAMP(3)>,
    auction ROW<`dateTime` TIMESTAMP(3)>,
    bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3)>,
    ts AS COALESCE(bid.`dateTime`, auction.`dateTime`, person.`dateTime`),
    WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH (
    'connector' = 'kafka',
    'topic' = '${input_topic:-nexmark}',
    'properties.bootstrap.servers' = 'h:1',
    'properties.group.id' = 'hot-items',
    'scan.startup.mode' = 'earliest-offset',
    'scan.bounded.mode' = '${bounded_mode:-unbounded}',
    'format' = 'json'
);

CREATE VIEW bids AS SELECT bid.auction, ts FROM events WHERE event_type = 2;

CREATE VIEW bids_per_auction AS
SELECT window_end, auction, count(*) AS num
FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
GROUP BY window_start, window_end, auction;

CREATE TABLE hot (window_end TIMESTAMP(3), place BIGINT, auction BIGINT, num BIGINT) WITH (
    'connector' = 'kafka',
    'topic' = '${output_topic:-hot-items}',
    'properties.bootstrap.servers' = 'h:1',
    'sink.delivery-guarantee' = 'exactly-once',
    'format' = 'json'
);

INSERT INTO hot
SELECT window_end, place, auction, num
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY window_end ORDER BY num DESC, auction) AS place
    FROM bids_per_auction
)
WHERE place <= 3;
