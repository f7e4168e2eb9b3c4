-- A NULL among the values of its auction makes the answer unknown: the row is left out.
CREATE TABLE not_in_correlated (id BIGINT, seller BIGINT) WITH (${sink});

INSERT INTO not_in_correlated
SELECT A.id, A.seller
FROM auction A
WHERE A.category NOT IN (
    SELECT CASE WHEN B.channel = 'Google' THEN NULL ELSE 10 + MOD(B.bidder, 5) END
    FROM bid B WHERE B.auction = A.id AND B.price > 100000);
