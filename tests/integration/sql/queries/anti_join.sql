-- Auctions without a dear bid: what has no partner.
CREATE TABLE anti_join (id BIGINT, seller BIGINT) WITH (${sink});

INSERT INTO anti_join
SELECT A.id, A.seller
FROM auction A LEFT JOIN bid B ON A.id = B.auction AND B.price > 3000
WHERE B.auction IS NULL;
