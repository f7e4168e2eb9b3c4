-- Sides of a join that are kept for different times.
CREATE TABLE hinted_join (id BIGINT, price BIGINT) WITH (${sink});

INSERT INTO hinted_join
SELECT /*+ STATE_TTL('A' = '1 d', 'B' = '0 s') */ A.id, B.price
FROM auction A JOIN bid B ON A.id = B.auction AND B.price > 500;
