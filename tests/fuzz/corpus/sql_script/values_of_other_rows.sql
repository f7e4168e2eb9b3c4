CREATE TABLE bid (auction BIGINT, price INT, note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'b', 'properties.bootstrap.servers' = 'h:1', 'format' = 'json');
SELECT auction, lag(price) OVER w AS before, lead(note, 2, 'none') OVER w, count(*) OVER w, first_value(price + 1) OVER w FROM bid WINDOW w AS (PARTITION BY auction ORDER BY ts);
