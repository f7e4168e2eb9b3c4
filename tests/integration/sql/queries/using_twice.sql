CREATE TABLE using_twice (seller BIGINT, id BIGINT, name VARCHAR, price BIGINT) WITH (${sink});

INSERT INTO using_twice
SELECT seller, id, name, price
FROM (SELECT id, seller FROM auction) AS A
LEFT JOIN (SELECT auction AS id, price FROM bid WHERE price > 5000000) AS B USING (id)
JOIN (SELECT id AS seller, name FROM person) AS P USING (seller);
