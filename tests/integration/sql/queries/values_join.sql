-- A table in the script, and rows that are inserted beside a query's.
CREATE TABLE values_join (channel VARCHAR, weight DECIMAL(4, 2), n BIGINT) WITH (${sink});

INSERT INTO values_join
SELECT B.channel, W.weight, count(*) AS n
FROM bid B
JOIN (VALUES ('Google', 1.5), ('Apple', 2), ('Baidu', -0.25), (NULL, 9)) AS W(channel, weight)
ON B.channel = W.channel
GROUP BY B.channel, W.weight
UNION ALL SELECT 'none', 0, 0;
