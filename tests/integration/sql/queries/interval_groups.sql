-- Joined by time, then grouped.
CREATE TABLE interval_groups (category BIGINT, n BIGINT, most BIGINT) WITH (${sink});

INSERT INTO interval_groups
SELECT A.category, count(*), max(B.price)
FROM auction A JOIN bid B
ON A.id = B.auction AND B.`dateTime` BETWEEN A.`dateTime` AND A.expires
GROUP BY A.category;
