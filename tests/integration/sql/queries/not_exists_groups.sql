-- Sellers who never bid.
CREATE TABLE not_exists_groups (seller BIGINT, n BIGINT) WITH (${sink});

INSERT INTO not_exists_groups
SELECT seller, count(*) FROM auction A
WHERE NOT EXISTS (SELECT 1 FROM bid B WHERE B.bidder = A.seller)
GROUP BY seller;
