-- Groups that are larger than the average group, and than what belongs to their key elsewhere.
CREATE TABLE scalar_having (bidder BIGINT, n BIGINT) WITH (${sink});

INSERT INTO scalar_having
SELECT bidder, count(*) AS n
FROM bid
GROUP BY bidder
HAVING count(*) > (SELECT avg(n) FROM (SELECT count(*) AS n FROM bid GROUP BY bidder) g)
    AND count(*) > 1 + (SELECT count(*) FROM auction A WHERE A.seller = bidder);
