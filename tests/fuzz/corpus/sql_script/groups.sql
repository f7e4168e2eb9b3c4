CREATE TABLE b (a BIGINT, n STRING, x INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'kafka', 'topic' = 'b', 'properties.bootstrap.servers' = 'h:1', 'format' = 'json');
SELECT a, GROUPING(a, n), count(*) FROM b GROUP BY GROUPING SETS ((a), (a, n), ());
SELECT n, sum(x) FROM b GROUP BY ROLLUP (n, (a, x)), CUBE (ts);
SELECT a, sum(x) OVER w - x, count(*) OVER (ORDER BY ts) FROM b
WINDOW w AS (PARTITION BY a ORDER BY ts ROWS BETWEEN 3 PRECEDING AND CURRENT ROW);
SELECT x - (SELECT max(x) FROM b), (SELECT count(*) FROM b c WHERE c.a = d.a) FROM b d WHERE x > (SELECT min(x) FROM b);
SELECT t.y FROM (VALUES (1, 'a'), (NULL, 'b')) AS t(y, z) JOIN b ON b.n = t.z;
SELECT 1 + 1, PROCTIME(), JSON_VALUE('{"a": [1]}', '$.a[0]');
