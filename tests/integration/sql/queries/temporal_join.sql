-- Each auction with the last bid of a channel before it.
CREATE VIEW last_of_channel AS
SELECT channel, price, `dateTime` FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY channel ORDER BY `dateTime` DESC) AS rn FROM bid)
WHERE rn = 1;

CREATE TABLE temporal_join (id BIGINT, channel VARCHAR, price BIGINT) WITH (${sink});

INSERT INTO temporal_join
SELECT A.id, C.channel, C.price
FROM auction A
JOIN last_of_channel FOR SYSTEM_TIME AS OF A.`dateTime` AS C
ON C.channel = CASE MOD(A.id, 2) WHEN 0 THEN 'Google' ELSE 'Apple' END;
