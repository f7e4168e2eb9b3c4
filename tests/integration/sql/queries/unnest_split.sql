-- The parts of paths, counted.
CREATE TABLE unnest_split (part STRING, n BIGINT, priciest BIGINT) WITH (${sink});

INSERT INTO unnest_split
SELECT part, count(*), max(price)
FROM bid CROSS JOIN UNNEST(SPLIT(url, '/')) AS t (part)
WHERE price > 500
GROUP BY part;
