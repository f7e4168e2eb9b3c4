CREATE TABLE union_all_groups (kind VARCHAR, id BIGINT, total BIGINT) WITH (${sink});

INSERT INTO union_all_groups
SELECT 'seller' AS kind, seller AS id, count(*) AS total FROM auction GROUP BY seller
UNION ALL
SELECT 'bidder', bidder, count(*) FROM bid WHERE price > 1000000 GROUP BY bidder;
