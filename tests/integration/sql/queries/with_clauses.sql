CREATE TABLE with_clauses (seller BIGINT, sold BIGINT, most BIGINT) WITH (${sink});

INSERT INTO with_clauses
WITH best AS (SELECT auction, max(price) AS price FROM bid GROUP BY auction),
    sales AS (SELECT A.seller, best.price FROM auction A JOIN best ON A.id = best.auction)
SELECT seller, count(*), max(price) FROM sales GROUP BY seller;
