-- Subqueries that are values beside aggregates: one for all groups, and one of each group's key.
CREATE TABLE scalar_groups (seller BIGINT, auctions BIGINT, of_all BIGINT, bids BIGINT, part DOUBLE)
    WITH (${sink});

INSERT INTO scalar_groups
SELECT A.seller, count(*), (SELECT count(*) FROM auction),
    (SELECT count(*) FROM bid B WHERE B.bidder = A.seller),
    CAST(count(*) AS DOUBLE) / (SELECT max(C.id) FROM auction C WHERE C.seller = A.seller)
FROM auction A
GROUP BY A.seller;
