CREATE TABLE t (a BIGINT, b STRING) WITH ('connector' = 'datagen');
CREATE FUNCTION f (x BIGINT, STRING) RETURNS DOUBLE RETURNS NULL ON NULL INPUT NOT DETERMINISTIC AS 'm.f' LANGUAGE PYTHON WITH ('mode' = 'vectorized', 'timeout' = '5 s');
SELECT CASE WHEN a > 0 THEN f(a, b) ELSE f(f(a, b), b) END FROM t WHERE f(a, b) > 1 OR a = 2;
