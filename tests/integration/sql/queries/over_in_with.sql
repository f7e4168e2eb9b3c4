-- Two levels of OVER in WITH, and membership in what they give.
CREATE TABLE over_in_with (id BIGINT, name VARCHAR) WITH (${sink});

INSERT INTO over_in_with
WITH steps AS (
    SELECT bidder, `dateTime`, price - lag(price) OVER (PARTITION BY bidder ORDER BY `dateTime`) AS step FROM bid),
falls AS (
    SELECT bidder, sum(CASE WHEN step < 0 THEN 1 ELSE 0 END) OVER (
        PARTITION BY bidder ORDER BY `dateTime` ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS fallen FROM steps)
SELECT P.id, P.name FROM person P WHERE P.id IN (SELECT bidder FROM falls WHERE fallen = 3);
