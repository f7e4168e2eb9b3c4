CREATE TABLE bid (auction BIGINT, bidder BIGINT, price INT, note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND) WITH ('connector' = 'kafka', 'topic' = 'b', 'properties.bootstrap.servers' = 'h:1', 'format' = 'json'); CREATE TABLE item (id BIGINT, name STRING, seller ROW<id BIGINT, city STRING>, at TIMESTAMP(3), WATERMARK FOR at AS at) WITH ('connector' = 'kafka', 'topic' = 'i', 'properties.bootstrap.servers' = 'h:1', 'format' = 'json'); CREATE TABLE out (a BIGINT, b BIGINT) WITH ('connector' = 'blackhole');
CREATE VIEW dear AS SELECT auction, price FROM bid WHERE price > 100;
INSERT INTO out SELECT auction, 1 FROM dear;
INSERT INTO out SELECT 2, price FROM dear;
