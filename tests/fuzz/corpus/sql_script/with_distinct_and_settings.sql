CREATE TABLE bid (auction BIGINT, bidder BIGINT, price INT, note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND) WITH ('connector' = 'kafka', 'topic' = 'b', 'properties.bootstrap.servers' = 'h:1', 'format' = 'json'); CREATE TABLE item (id BIGINT, name STRING, seller ROW<id BIGINT, city STRING>, at TIMESTAMP(3), WATERMARK FOR at AS at) WITH ('connector' = 'kafka', 'topic' = 'i', 'properties.bootstrap.servers' = 'h:1', 'format' = 'json'); CREATE TABLE out (a BIGINT, b BIGINT) WITH ('connector' = 'blackhole');
SET 'parallelism.default' = '2';
SET 'execution.checkpointing.interval' = '5 s';
SET 'pipeline.name' = 'distinct-prices';
WITH p AS (SELECT price FROM bid WHERE price IS NOT NULL) SELECT DISTINCT price FROM p;
