CREATE TABLE b (a BIGINT, n STRING, x INT, ts TIMESTAMP(3), p AS PROCTIME(), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND)
WITH ('connector' = 'kafka', 'topic' = 'b', 'properties.bootstrap.servers' = 'h:1', 'format' = 'json');
CREATE TABLE s (k BIGINT, v STRING) WITH ('connector' = 'file', 'path' = '/s', 'format' = 'csv');
CREATE TABLE letters (uid STRING, code STRING) WITH ('connector' = 'blackhole');
SET 'pipeline.dead-letters' = 'letters';
SET 'pipeline.late-rows' = 'letters';
CREATE VIEW newest AS SELECT a, n, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY a ORDER BY ts DESC) AS rn FROM b) WHERE rn = 1;
SELECT b.n, s.v FROM b JOIN s FOR SYSTEM_TIME AS OF b.p AS s ON b.a % 7 = s.k AND s.v <> b.n;
SELECT b.n, w.n FROM b LEFT JOIN newest FOR SYSTEM_TIME AS OF b.ts AS w ON b.a = w.a;
SELECT count(*) FROM TABLE(TUMBLE(TABLE b, DESCRIPTOR(p), INTERVAL '1' SECOND)) GROUP BY window_start, window_end;
SELECT a, window_end FROM TABLE(HOP(TABLE b, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '2' SECOND)) WHERE window_start > ts;
