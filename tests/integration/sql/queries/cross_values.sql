CREATE TABLE cross_values (category BIGINT, label VARCHAR, auctions BIGINT) WITH (${sink});

INSERT INTO cross_values
SELECT A.category, V.label, count(*)
FROM auction A CROSS JOIN (VALUES ('x', 10), ('y', 12)) AS V(label, least)
WHERE A.category >= V.least
GROUP BY A.category, V.label;
